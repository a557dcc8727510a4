"""What dlt's settings say of a destination."""

from __future__ import annotations

import os
from typing import Any

import dlt
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.config_section_context import ConfigSectionContext
from dlt.common.destination import Destination as DestinationReference

from .base import PIPELINE_NAME


def settings_of(destination: DestinationReference[Any, Any], dataset: str) -> Any:
    """The settings of a destination, as a pipeline of the commands finds them.

    Raises:
        ConfigurationException: one is missing or cannot be read.
    """
    spec = destination.spec()
    spec.dataset_name, spec.pipeline_name = dataset, PIPELINE_NAME
    spec.local_dir = os.path.abspath(dlt.current.run_context().local_dir)
    context = ConfigSectionContext(pipeline_name=PIPELINE_NAME)
    with Container().injectable_context(context):
        return destination.configuration(spec)
