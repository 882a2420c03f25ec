"""What every page of HTML is made of that this project writes: one file that needs nothing beside it."""
