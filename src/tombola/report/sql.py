"""SQL over tables in memory, by DuckDB: a query sees them and nothing else, neither files nor the network.

An optional dependency: `pip install 'tombola[results]'`.
"""

from collections.abc import Mapping

import pyarrow as pa

from tombola.foundations.errors import TombolaError, one_line

_LOCKED = (
    "python_enable_replacements = false",
    "autoinstall_known_extensions = false",
    "autoload_known_extensions = false",
    "enable_external_access = false",
    # The last: nothing opens again what is closed.
    "lock_configuration = true",
)


def query(tables: Mapping[str, pa.Table], sql: str) -> pa.Table:
    """The answer to a query, in DuckDB's dialect, over tables by their names.

    Raises:
        TombolaError: DuckDB is not installed, or the query is wrong, or asks for more than these tables.
    """
    try:
        import duckdb
    except ImportError:
        raise TombolaError(
            "SQL needs DuckDB; pip install 'tombola[results]', or take a table as it is (--view)"
        ) from None
    mend = f"write it for the tables {', '.join(tables)} in DuckDB's SQL"
    with one_line("the query is wrong", mend), duckdb.connect(":memory:") as connection:
        for name, table in tables.items():
            connection.register(name, table)
        for setting in _LOCKED:
            connection.execute(f"SET {setting}")
        found = connection.sql(sql)
        if found is None:
            raise ValueError("it selects nothing")
        return found.to_arrow_table()
