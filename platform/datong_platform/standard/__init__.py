"""The standard: what every field means, which rules its values obey, and what people decided about records."""
