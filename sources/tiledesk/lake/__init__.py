"""Tables in folders of files: Delta Lake and Iceberg, on a disk or in a bucket of S3.

dlt's own destination for such tables cannot delete and insert the rows of a key. Here each change
of a table is one commit of its format, so a reader sees all of it or nothing:

- :mod:`.tables` says what a table of a lake can do. :mod:`.delta` and :mod:`.iceberg` do it.
- :mod:`.merge` finds out which rows of a table a load replaces.
- :mod:`.client` is dlt's client of a load, and :mod:`.destination` is dlt's destination with it.
- :mod:`.queries` and :mod:`.changes` are SQL on the tables, :mod:`.records` dlt's own tables.
"""
