"""From granted resources to devices. In every digest that uses them."""
