"""Images in TFRecord files as tfds writes them.

`imagenet` makes the data set of `store` (what tfds says of the files) and
`pipeline`, which joins `order` and `lanes` (which record comes when), `records`
(reading them), `skipping` (what cannot be read), `crops` and `randaugment` (an
image's way). TensorFlow is imported where a pipeline is built, not with this
package.
"""
