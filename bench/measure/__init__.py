"""What `bench/run` and `bench/kafka` are made of. Python's standard library only."""
