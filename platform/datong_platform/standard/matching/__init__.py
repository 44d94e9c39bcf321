"""Golden records: which records of the systems stand for the same customer, supplier or material.

    records --features--> what is compared --pairs--> scored pairs --clusters--> groups --identity--> golden ids

`text` and `features` write names and numbers in the form in which they are compared, `model` reads how much each
likeness counts (`dbt_project/standard/matching/<entity>.yaml`), `pairs` finds candidates and has Splink score them,
`clusters` puts records together and obeys what people decided, `identity` gives a group the id that it had before, and
`run` does all of it and writes the tables of `store`. `queue` is what a steward sees and decides.
"""
