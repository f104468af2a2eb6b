"""The ground floor: everything that the house has to fit itself to."""
