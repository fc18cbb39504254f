"""What tests share: the leak check, the server rule, the sample of kill tests."""
