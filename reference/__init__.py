"""What the tests and benchmarks measure tinytl against; never shipped with it."""
