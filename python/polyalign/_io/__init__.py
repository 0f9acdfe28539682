"""What comes in and goes out: names of inputs, texts and numbers of users, outputs that appear whole."""
