"""Where packets come from: capture files and the kernel's queues. Drivers import the engine, never the reverse."""
