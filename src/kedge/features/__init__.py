"""The features room: point-in-time joins for training, the same values by key for serving."""
