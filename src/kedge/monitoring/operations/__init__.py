"""Operations by the prediction log: latency, errors, throughput, objectives, and hours in which far less came than usual."""
