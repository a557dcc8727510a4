"""Load a Tiledesk project.

This is the script that ``dlt init tiledesk DESTINATION --location REPOSITORY`` copies into a new
project. The account and the project's id belong into ``.dlt/secrets.toml`` and
``.dlt/config.toml``, or into environment variables.
"""

import dlt

from tiledesk import run_in_slices, tiledesk_source


def load_tiledesk() -> None:
    """Load what is new or changed since the last run; the first run loads everything.

    Each slice is in the destination when it ends. Run the script again after an interruption: it
    continues there.
    """
    pipeline = dlt.pipeline("tiledesk", destination="duckdb", dataset_name="tiledesk_data")
    for info in run_in_slices(pipeline, tiledesk_source()):
        print(info)  # noqa: T201


if __name__ == "__main__":
    load_tiledesk()
