"""EDI: envelopes and messages of X12 and EDIFACT, and the acknowledgements of both."""
