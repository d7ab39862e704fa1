"""The evaluation room: metrics, slices, fairness, paired comparison and the gate."""
