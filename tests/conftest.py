import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from hypothesis import settings

# No time limits: speed is measured in benchmarks/, and machines here and there are slow.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

# Files with few tests that take long: first, so that no process is left alone with one at the end.
LONG = (
    "test_install.py",
    "test_from_tfmot.py",
    "test_distributed.py",
    "test_notebooks.py",
    "test_interruptions.py",
)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in LONG)
