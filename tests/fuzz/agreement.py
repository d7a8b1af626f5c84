"""What the package and the simple decoder say of a file, in the same form."""

import simple_decoder
from golden.manifests import patterns

from keras_deepcomp import container


def by_package(data, max_bytes):
    """Return what the package finds in the form of the simple decoder, None if it refuses."""
    try:
        tensors, info = container.load_with_info(data, max_bytes=max_bytes)
    except container.FormatError:
        return None
    return info.metadata, {
        name: (array.dtype.name, array.shape, patterns(array)) for name, array in tensors.items()
    }


def by_simple_decoder(data, max_bytes):
    """Return what the simple decoder finds, None if it refuses."""
    try:
        return simple_decoder.decode(data, max_bytes)
    except ValueError:
        return None
