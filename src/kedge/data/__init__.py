"""The data room: a source becomes immutable, validated dataset versions."""
