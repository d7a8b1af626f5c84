"""`python -m keras_deepcomp` is `keras-deepcomp`."""

from keras_deepcomp.cli import entry_point

if __name__ == "__main__":
    entry_point()
