"""A destination's settings, before a pipeline uses it."""

from __future__ import annotations

import os
from typing import Any

import dlt
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.config_section_context import ConfigSectionContext

from .base import PIPELINE_NAME


def settings_of(destination: Any, dataset: str) -> Any:
    """The settings as a pipeline of the commands finds them."""
    spec = destination.spec()
    spec.dataset_name, spec.pipeline_name = dataset, PIPELINE_NAME
    spec.local_dir = os.path.abspath(dlt.current.run_context().local_dir)
    context = ConfigSectionContext(pipeline_name=PIPELINE_NAME)
    with Container().injectable_context(context):
        return destination.configuration(spec)
