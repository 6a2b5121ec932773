"""From the ring to the sinks, in a thread of its own."""
