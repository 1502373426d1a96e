import pytest


@pytest.mark.samplerhub
def test_conformance(component):
    component.check()
