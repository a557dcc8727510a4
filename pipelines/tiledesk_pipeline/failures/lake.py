"""What the files of a lake and its bucket say, as sentences with the cause and the cure."""

from __future__ import annotations

import re

from tiledesk.redaction import words_of

SETTING = "destination.filesystem"

_BY_TEXT: tuple[tuple[str, str], ...] = (
    (
        r"bucket does not exist|NoSuchBucket",
        f"There is no such bucket. Make it, or correct {SETTING}.bucket_url.",
    ),
    (
        r"InvalidAccessKeyId|Access Key Id|SignatureDoesNotMatch|signature we|ExpiredToken",
        f"The bucket does not accept the credentials. Correct them in {SETTING}.credentials.",
    ),
    (
        r"AccessDenied|Access Denied|Forbidden|\b403\b",
        "The bucket refuses an access. A load needs the rights to list, read, write and delete"
        f" objects below {SETTING}.bucket_url.",
    ),
    (
        r"endpoint URL|[Cc]onnect|timed out|[Tt]imeout|dns error|error sending request",
        f"The bucket cannot be reached. Check {SETTING}.credentials.endpoint_url and the network:"
        " nothing was lost, run again.",
    ),
    (
        r"SlowDown|ServiceUnavailable|InternalError|\b50[0-9]\b",
        "The server of the bucket has a problem now. Nothing was lost: run again later.",
    ),
    (
        r"No such file|not found|NotFound|NoSuchKey",
        "A file of a table is missing. Restore the folder of the dataset from a backup, or move it"
        " away and load everything again.",
    ),
)


def explain(error: BaseException) -> str | None:
    """The sentence for an error of a lake; None if it is none, or one that is not known."""
    module = type(error).__module__.partition(".")[0]
    is_of_format = module in ("deltalake", "pyiceberg", "_internal")
    is_of_bucket = module in ("botocore", "aiobotocore", "s3fs") or _is_translated(error)
    if not is_of_format and not is_of_bucket:
        return None
    for pattern, sentence in _BY_TEXT:
        if re.search(pattern, str(error)):
            return sentence
    said = words_of(error).partition("\n")[0].rstrip(".")
    return f"The files of the lake cannot be read or written: {said}."


def _is_translated(error: BaseException) -> bool:
    """Whether it is an error of the system that stands for one of S3, or one of delta-rs."""
    if not isinstance(error, OSError):
        return False
    of_cause = type(error.__cause__).__module__.partition(".")[0]
    return of_cause in ("botocore", "aiobotocore") or "Generic S3 error" in str(error)
