"""What happens to code before it runs elsewhere: build, push and pull steps, and versions."""
