import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from hypothesis import settings

# No time limits: speed is measured in benchmarks/, and machines here and there are slow.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
