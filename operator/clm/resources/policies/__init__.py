"""The parts of a Policy's spec: a file for each, with the fields it holds and the function that reads them."""
