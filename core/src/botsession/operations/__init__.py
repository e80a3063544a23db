"""What the one needs who operates a bot: works on any store by its powers, in bounded memory."""
