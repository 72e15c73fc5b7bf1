"""The words a decision is made of, shared by every module of the core and readable from Python as enums."""
