"""The public port: reads requests within limits and hands captures to the pipeline.

It serves `/webhooks/` alone and knows no provider.
"""
