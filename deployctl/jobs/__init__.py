"""What a flow run's job needs: the templates of work pools and the variables that fill them."""
