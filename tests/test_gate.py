"""Who may send when: slots, queues and the pauses that a server asks for."""
