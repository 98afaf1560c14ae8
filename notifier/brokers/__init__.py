"""What joins nodes and keeps history: one written contract, several brokers that keep it."""
