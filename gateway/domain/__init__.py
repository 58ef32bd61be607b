"""The pure core: what the words of metering mean. No await, no clock, no environment lives here."""
