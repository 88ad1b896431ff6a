"""The papers' figures, drawn again: one module each.

`python -m experiments.figures.NAME --out=FOLDER` writes FOLDER/NAME.png and
FOLDER/NAME.json, in under five minutes on two CPU cores.
"""
