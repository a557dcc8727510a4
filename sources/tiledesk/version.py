"""The version of the connector: stands here, since `dlt init` copies files and installs nothing."""

VERSION = "0.1.0"
