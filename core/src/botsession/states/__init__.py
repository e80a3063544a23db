"""What a state is: JSON values, typed states, and states of older versions."""
