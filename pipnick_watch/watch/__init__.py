"""What is new, is it ready, who measures it."""
