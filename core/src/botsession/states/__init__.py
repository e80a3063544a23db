"""States: JSON values, typed states, migrations, and fields that a type does not know."""
