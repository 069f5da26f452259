"""Prints a suite of Great Expectations as the installed version saves it, 0.18 or 1.x."""

import json

import great_expectations as gx

EXPECTATIONS = [
    ("expect_table_columns_to_match_ordered_list", {"column_list": ["heat", "flow", "gear"]}),
    ("expect_column_values_to_not_be_null", {"column": "heat"}),
    (
        "expect_column_values_to_be_between",
        {"column": "heat", "min_value": -40, "max_value": 85.5, "strict_max": True, "mostly": 0.95},
    ),
    ("expect_column_values_to_be_between", {"column": "flow", "min_value": 0}),
    ("expect_column_values_to_be_in_set", {"column": "gear", "value_set": [1, 2, 3]}),
    ("expect_column_values_to_be_of_type", {"column": "gear", "type_": "int64"}),
    ("expect_column_values_to_match_regex", {"column": "gear", "regex": "[0-9]"}),
]

if gx.__version__.startswith("0."):
    from great_expectations.core import ExpectationConfiguration, ExpectationSuite

    suite = ExpectationSuite("inputs")
    for kind, kwargs in EXPECTATIONS:
        suite.add_expectation(ExpectationConfiguration(expectation_type=kind, kwargs=kwargs))
else:
    import great_expectations.expectations as gxe

    def class_of(kind):
        return getattr(gxe, "".join(word.capitalize() for word in kind.split("_")))

    suite = gx.ExpectationSuite(name="inputs", expectations=[class_of(kind)(**kwargs) for kind, kwargs in EXPECTATIONS])

print(json.dumps(suite.to_json_dict()))
