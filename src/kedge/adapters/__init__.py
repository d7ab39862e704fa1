"""Floor 3: one module or folder per third party. Implements ports; decides nothing."""
