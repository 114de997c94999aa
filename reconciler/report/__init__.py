"""Plans and outcomes as text and as JSON. Pure: values in, text out; no client, no file, no clock.

No field of any kind is known here by name: everything is read from the plan.
"""
