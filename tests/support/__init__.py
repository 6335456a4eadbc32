"""Support for tests against real services: brokers, a registry, Redis, a browser."""
