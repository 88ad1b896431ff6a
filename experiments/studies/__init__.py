"""Studies: whole tables of the papers, each a program that makes it anew."""
