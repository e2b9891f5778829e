"""What gets built: recipes, contexts and the images that come of them."""
