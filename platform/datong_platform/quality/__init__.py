"""Quality that is proven and not believed: reconciliation of source and lake, balances of the business, scores over
time, and what is out of the ordinary."""
