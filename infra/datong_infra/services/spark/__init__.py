"""The scale-out engine on one machine: Apache Spark Connect with Delta, on a Java runtime from the system or a wheel.

`java` finds the runtime, `jars` fetches and compiles once, `server` says how it is launched.
`ConditionalLogStore.scala` makes its commits safe beside other writers.
"""
