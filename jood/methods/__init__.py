"""The methods of the field: transforms and scores, their texts and presets."""
