"""What a definition says of its connection and entities, protocol by protocol. Imports no driver."""
