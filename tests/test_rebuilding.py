import keras
import own_classes as own
import pytest
from journey import STAGES, Journey
from model_kinds import KINDS, called, floats

import keras_deepcomp as kdc

CONSTANT = kdc.schedules.Constant(0.5, begin=0)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if not kind.slow])
def test_every_kind_goes_all_the_way(name, tmp_path):
    journey = Journey(KINDS[name], tmp_path, eager=True)
    for stage in STAGES:
        journey.run(stage)
